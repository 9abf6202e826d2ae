"""The tutorial's baseline network, layer for layer: two convolutions, two poolings, three linear layers."""

from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """Tiles [B, 3, 64, 64] in, one score per class [B, classes] out; 338,486 parameters for ten classes."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 13 * 13, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, tiles: Tensor) -> Tensor:
        features = self.pool1(functional.relu(self.conv1(tiles)))
        features = self.pool2(functional.relu(self.conv2(features)))
        hidden = functional.relu(self.fc1(features.flatten(1)))
        hidden = functional.relu(self.fc2(hidden))
        scores: Tensor = self.fc3(hidden)
        return scores
