class PythonPredictor:
    def __init__(self, *, config):
        pass

    def predict(self, *, payload, query_params):
        return {"payload": payload, "query": query_params.get("q")}
