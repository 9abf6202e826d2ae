"""The tutorial's own way of training, as one writes it down: the side that the lab is measured against.

A plain process, JPEG files, torchvision's transforms, a DataLoader with two forked workers, batch 40, no seed.
`python -m bench.tutorial FOLDER THREADS [EPOCHS]` prints the seconds of its epochs (one; each with training and
validation) and the last validation accuracy as JSON.
"""

import json
import multiprocessing
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import transforms
from torchvision.datasets import ImageFolder

from eurosat_core.models.networks import Net


def main(folder: str, threads: str, epochs: str = "1") -> None:
    """Train and validate for so many epochs over the class folders in `folder`."""
    torch.set_num_threads(int(threads))
    transform = transforms.Compose(
        [
            transforms.Resize((64, 64)),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    tiles = ImageFolder(folder, transform=transform)
    train_size = int(0.75 * len(tiles))
    train_set, validation_set = random_split(tiles, [train_size, len(tiles) - train_size])
    # What a DataLoader did by default when the tutorial was written; Windows cannot fork.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    loaders = {
        "train": DataLoader(train_set, batch_size=40, shuffle=True, num_workers=2, multiprocessing_context=context),
        "validation": DataLoader(validation_set, batch_size=40, num_workers=2, multiprocessing_context=context),
    }
    network = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    began = time.perf_counter()
    accuracy = 0.0
    for phase, loader in [each for _ in range(int(epochs)) for each in loaders.items()]:
        network.train(phase == "train")
        running_loss, correct = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = network(inputs)
                loss = criterion(outputs, labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_loss += loss.item() * len(labels)
            correct += int((outputs.argmax(1) == labels).sum())
        accuracy = correct / len(loader.dataset)  # type: ignore[arg-type]  # a Subset has a length
    print(json.dumps({"seconds": time.perf_counter() - began, "val_accuracy": accuracy}))


if __name__ == "__main__":
    main(*sys.argv[1:])
