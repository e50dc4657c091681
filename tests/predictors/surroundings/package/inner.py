from pathlib import Path

PLACE = "/mnt/project/words.txt"


def read():
    return Path(PLACE).read_text()
