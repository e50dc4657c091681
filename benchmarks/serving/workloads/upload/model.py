"""A megabyte comes in, a few bytes go out: what is left is how the server takes a body."""

import zlib


class Model:
    def answer(self, payloads):
        return [{"length": len(payload), "checksum": zlib.crc32(payload)} for payload in payloads]
