"""Model: what a network is made of, where its parameters and its work are, and how to build another one."""

import streamlit as st

from eurosat_core.models.anatomy import WHERE_GUESSES
from pages.parts import lesson
from pages.parts.model import builder, choose, state

WORDS = lesson.text("model")
MORE = {
    "builder": "Free builder",
    "activations": "Activation functions",
    "linear": "Linear layers",
}

CPU_CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(              # what is there?
            nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(            # so what is it?
            nn.Flatten(),
            nn.Linear(16 * 13 * 13, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, tiles):                       # [B, 3, 64, 64]
        return self.classifier(self.features(tiles))  # [B, classes]


network = Net()
tiles = torch.zeros(40, 3, 64, 64)
print(network(tiles).shape)
print(sum(each.numel() for each in network.parameters()))
"""
GPU_CODE = CPU_CODE.replace("network = Net()", 'network = Net().to("cuda")').replace(
    "tiles = torch.zeros(40, 3, 64, 64)", 'tiles = torch.zeros(40, 3, 64, 64, device="cuda")'
)

lesson.header(WORDS["goal"], 8, WORDS["task"])
problem = state.prepare()
guessed = lesson.guess("model_where", WORDS["guess"], list(WHERE_GUESSES))
st.markdown(WORDS["intro"])

st.header("Select a model", anchor=False)
choose.draw_selection(WHERE_GUESSES.get(guessed or ""))

st.header("Change it", anchor=False)
choose.draw_change()

lesson.misconception("A network with more parameters takes longer", WORDS["misconception"])

st.header("More", anchor=False)
if problem:
    st.error(lesson.plain(problem), icon=":material/link_off:", title="The network in the address cannot be read")
opened = st.pills(
    "More about networks",
    list(MORE),
    format_func=lambda name: MORE[name],
    key=state.MORE,
    persist_state="session",
    label_visibility="collapsed",
)
match opened:
    case "builder":
        builder.draw()
    case "activations":
        choose.activations()
    case "linear":
        choose.weighted_sum()

lesson.show_pytorch(CPU_CODE.strip(), GPU_CODE.strip())
lesson.next_page("train.py", "Next: train it")
