"""Fifty milliseconds of waiting for something else, as for a database."""

import asyncio


class Model:
    async def answer_one(self, payload):
        await asyncio.sleep(0.05)
        return {"length": len(payload["text"])}
