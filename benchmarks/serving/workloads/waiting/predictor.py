from model import Model


class PythonPredictor:
    def __init__(self, config):
        self.model = Model()

    async def predict(self, payload):
        return await self.model.answer_one(payload)
