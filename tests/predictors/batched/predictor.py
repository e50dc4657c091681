import threading

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse


class PythonPredictor:
    def __init__(self, config):
        self.thread = threading.get_ident()
        self.batches = 0

    def predict(self, payload, query_params, headers, batch_id):
        """Each request gets told with whom it was answered; the payload of one may say what becomes of all."""
        assert threading.get_ident() == self.thread
        assert len(payload) == len(query_params) == len(headers) == len(batch_id)
        self.batches += 1
        if "short" in payload:
            return payload[1:]
        if "text" in payload:
            return "not a list"
        if "fail" in payload:
            raise KeyError("a secret")
        if "refuse" in payload:
            raise HTTPException(503, "come again")
        return [
            self.answer(item, query, header, one_id, payload)
            for item, query, header, one_id in zip(payload, query_params, headers, batch_id, strict=True)
        ]

    def answer(self, item, query, header, batch_id, payload):
        if item == "response":
            return JSONResponse({"no": item}, status_code=422)
        if item == "set":
            return {1, 2}
        return {
            "item": item,
            "batch": payload,
            "query": query.get("q"),
            "header": header.get("x-word"),
            "batch_id": batch_id,
            "batches": self.batches,
        }

    def post_predict(self, response, payload):
        print("after", payload, flush=True)
