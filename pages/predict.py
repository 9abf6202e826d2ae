"""Predict: ask any trained network about a tile, a picture of one's own, or something it was never meant for."""

import streamlit as st

from eurosat_core.analysis.prediction import GUESSES
from pages.parts import lesson
from pages.parts.predict import view

words = lesson.text("predict")

lesson.header(words["goal"], 8, words["task"])
st.markdown(words["intro"])
guess = lesson.guess("predict_face", words["guess"], list(GUESSES))

view.draw(guess)

lesson.misconception("99 % means that it knows", words["misconception"])

lesson.show_pytorch(
    """
import torch
from PIL import Image
from torchvision import transforms

network = Net()
network.load_state_dict(torch.load("model.pt", weights_only=True))
network.eval()                                  # no dropout, fixed BatchNorm

preprocess = transforms.Compose([               # the same as in training
    transforms.ToTensor(),
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
])
picture = preprocess(Image.open("tile.png").convert("RGB"))

with torch.inference_mode():
    scores = network(picture[None])             # [1, 3, 64, 64] → [1, classes]
probabilities = scores.softmax(1)               # they add up to 1, always

# Where it looked (Grad-CAM), for a network split into its convolutions and the rest:
maps = convolutions(picture[None])              # [1, maps, rows, columns]
score = rest(maps)[0, label]
(gradients,) = torch.autograd.grad(score, maps)
weights = gradients.mean((2, 3), keepdim=True)  # how much the score rises with each map
heat = (weights * maps).sum(1).relu()
""",
    """
import torch
from PIL import Image
from torchvision import transforms

network = Net()
network.load_state_dict(torch.load("model.pt", weights_only=True, map_location="cuda"))
network.eval().to("cuda")                       # no dropout, fixed BatchNorm

preprocess = transforms.Compose([               # the same as in training
    transforms.ToTensor(),
    transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
])
picture = preprocess(Image.open("tile.png").convert("RGB")).to("cuda")

with torch.inference_mode():
    scores = network(picture[None])             # [1, 3, 64, 64] → [1, classes]
probabilities = scores.softmax(1).cpu()         # they add up to 1, always

# Where it looked (Grad-CAM), for a network split into its convolutions and the rest:
maps = convolutions(picture[None])              # [1, maps, rows, columns]
score = rest(maps)[0, label]
(gradients,) = torch.autograd.grad(score, maps)
weights = gradients.mean((2, 3), keepdim=True)  # how much the score rises with each map
heat = (weights * maps).sum(1).relu().cpu()
""",
)
lesson.next_page("train.py", "Next: train another network, and ask that")
