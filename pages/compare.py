"""Compare: two or more trainings side by side: who wins, by how much, at what cost, and why."""

import streamlit as st

from eurosat_core.analysis.lineup import GUESSES
from pages.parts import lesson
from pages.parts.compare import accuracy, choose, curves, race

WORDS = lesson.text("compare")
PARTS = {
    "accuracy": "Accuracy",
    "curves": "Learning curves",
    "cost": "Time and cost",
    "split": "Random or by place",
    "bundles": "Take runs along",
}

CPU_CODE = """
import time
import torch

def train(network, tiles, labels, epochs=10):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    began = time.perf_counter()
    for epoch in range(epochs):
        for at in torch.randperm(len(tiles)).split(40):
            loss = torch.nn.functional.cross_entropy(network(tiles[at]), labels[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - began

for name, network in {"baseline": Net(), "pretrained": pretrained()}.items():
    seconds = train(network, tiles, labels)         # a fresh network every time
    network.eval()
    with torch.inference_mode():
        said = network(validation_tiles).argmax(1)
    right = (said == validation_labels).float().mean()
    confusion = torch.bincount(validation_labels * 10 + said, minlength=100).view(10, 10)
    print(name, f"{seconds:.0f} s", f"{right:.1%}", confusion, sep="\\n")
"""
GPU_CODE = (
    CPU_CODE.replace(
        "    began = time.perf_counter()\n",
        '    network, tiles, labels = network.to("cuda"), tiles.to("cuda"), labels.to("cuda")\n'
        "    torch.cuda.synchronize()                        # it may still be copying\n"
        "    began = time.perf_counter()\n",
    )
    .replace(
        "    return time.perf_counter() - began\n",
        "    torch.cuda.synchronize()                        # it is still computing\n"
        "    return time.perf_counter() - began\n",
    )
    .replace("network(validation_tiles).argmax(1)", 'network(validation_tiles.to("cuda")).argmax(1).cpu()')
)

lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("compare_winner", WORDS["guess"], list(GUESSES))

ids = choose.draw_choice()
side = choose.current(ids)
mark = choose.mark(ids)
if side is not None:
    curves.draw_verdict(side, guessed)

st.header("The race", anchor=False)
race.draw_race()
if side is not None:
    st.header("Replay", anchor=False)
    curves.draw_replay(side, mark)

st.header("Look closer", anchor=False)
opened = st.pills(
    "Parts of the comparison",
    list(PARTS),
    default="accuracy",
    format_func=lambda name: PARTS[name],
    key="compare_part",
    persist_state="session",
    label_visibility="collapsed",
)
match opened:
    case "accuracy" if side is not None:
        accuracy.draw_accuracy(side, mark)
    case "curves" if side is not None:
        curves.curves(side, mark)
    case "cost" if side is not None:
        curves.cost(side, mark)
    case "split":
        curves.split()
    case "bundles":
        choose.draw_bundles(side)

lesson.misconception("A GPU makes the model smarter", WORDS["misconception"])
curves.devices()
lesson.show_pytorch(CPU_CODE.strip(), GPU_CODE.strip())
lesson.next_page("wrapup.py", "Next: your own numbers, your own conclusion")
