"""Models of transformers, tiny and seeded: which ones, config says (benchmarks/zoo/architectures.yaml)."""

import torch
import transformers
from transformers.utils import ModelOutput
from zoo_inputs import make_inputs, summary


class PythonPredictor:
    def __init__(self, config):
        self.inputs = {name: row["inputs"] for name, row in config.items()}
        self.nets = {name: make_net(row) for name, row in config.items()}

    def run(self, payload):
        inputs = make_inputs(self.inputs[payload["row"]], payload)
        with torch.no_grad():
            return self.nets[payload["row"]](**inputs)

    def predict(self, payload):
        return summary(tensors_in(self.run(payload)))


def make_net(row):
    torch.manual_seed(0)
    config = getattr(transformers, row["config"])(**row["arguments"])
    net = getattr(transformers, row["model"])(config).eval()
    make_lively(net)
    return net


def make_lively(net):
    """Fresh weights are so small that many results hardly depend on the inputs; these do."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                torch.nn.init.xavier_normal_(parameter)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))


def tensors_in(result):
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, ModelOutput):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [tensor for item in result for tensor in tensors_in(item)]
    return []
