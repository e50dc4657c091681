import asyncio


class PythonPredictor:
    def __init__(self, config):
        pass

    async def predict(self, payload):
        await asyncio.sleep(0)
        return {"later": payload}
