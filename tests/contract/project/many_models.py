import os


class PythonPredictor:
    def __init__(self, config, python_client):
        self.client = python_client

    def load_model(self, model_path):
        with open(os.path.join(model_path, "model.txt")) as file:
            return {"text": file.read().strip()}

    def predict(self, payload, query_params):
        if payload:
            os.mkdir(f"models/{payload['model']}/.new")
            with open(f"models/{payload['model']}/.new/model.txt", "w") as file:
                file.write(payload["text"])
            os.rename(f"models/{payload['model']}/.new", f"models/{payload['model']}/{payload['version']}")
        return self.client.get_model(query_params["model"], query_params.get("version", "latest"))
