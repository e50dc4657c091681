from starlette.responses import JSONResponse


class PythonPredictor:
    def __init__(self, config):
        pass

    def predict(self, payload, query_params, headers, batch_id):
        if "short" in payload:
            return payload[1:]
        if "no list" in payload:
            return {"answers": payload}
        if "exception" in payload:
            raise KeyError("secret-label")
        kinds = [type(argument).__name__ for argument in (payload, query_params, headers, batch_id)]
        return [
            JSONResponse({"error": "no"}, status_code=422)
            if item == "refuse"
            else {"item": item, "of": len(payload), "kinds": kinds}
            for item in payload
        ]
