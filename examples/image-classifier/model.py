"""A small MobileNetV2: inverted residuals with depthwise convolutions, scores of the labels out."""

from torch import nn

# expansion, channels, blocks, stride of the first block
STAGES = [(1, 8, 1, 1), (4, 12, 2, 2), (4, 16, 2, 2), (4, 24, 2, 2)]


def convolve(channels, out, kernel=1, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    def __init__(self, channels, out, stride, expand):
        super().__init__()
        hidden = channels * expand
        self.residual = stride == 1 and channels == out
        self.layers = nn.Sequential(
            convolve(channels, hidden),
            convolve(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNet(nn.Module):
    def __init__(self, labels):
        super().__init__()
        channels = 12
        layers = [convolve(3, channels, kernel=3, stride=2)]
        for expand, out, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, out, stride if block == 0 else 1, expand))
                channels = out
        self.features = nn.Sequential(*layers, convolve(channels, 96))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(96, labels))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))
