"""Wrap-up: the participant's own numbers along the lesson's three sentences, and a report to take home."""

import streamlit as st

from eurosat_core.analysis.guess_outcomes import HELD_GUESSES, guess_outcomes, held_against, score_sentence
from eurosat_core.analysis.wrapup import gather, sentences
from pages.parts import lesson, session
from pages.parts.wrapup import sections

WORDS = lesson.text("wrapup")

CPU_CODE = """
import time
import torch

def tiles_per_second(network, tiles, labels, batch_size, steps=30):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step():
        loss = torch.nn.functional.cross_entropy(network(tiles), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(5):                      # warm-up does not count
        step()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * batch_size / (time.perf_counter() - began)

for batch_size in (40, 256):                # change one thing, and measure again
    tiles, labels = batch_of(batch_size)
    print(batch_size, tiles_per_second(Net(), tiles, labels, batch_size))
"""
GPU_CODE = (
    CPU_CODE.replace(
        "    began = time.perf_counter()\n",
        "    torch.cuda.synchronize()                # it may still be computing\n    began = time.perf_counter()\n",
    )
    .replace(
        "    return steps",
        "    torch.cuda.synchronize()                # the CPU only launched the work\n    return steps",
    )
    .replace(
        "    tiles, labels = batch_of(batch_size)\n",
        '    tiles, labels = (each.to("cuda") for each in batch_of(batch_size))\n',
    )
    .replace("tiles_per_second(Net(),", 'tiles_per_second(Net().to("cuda"),')
)

lesson.header(WORDS["goal"], 6, WORDS["task"])
guessed = lesson.guess("wrapup_held", WORDS["guess"], list(HELD_GUESSES))

lab, me = session.lab(), session.nickname()
with st.spinner("Putting your figures together…"):
    evidence = gather(lab, me, lesson.guesses())
    outcomes = guess_outcomes(lab, evidence)
    said = sentences(lab, evidence)
if evidence.is_empty:
    st.info(WORDS["nothing"], icon=":material/flag:")
sections.saw(evidence, [score_sentence(outcomes), held_against(guessed, outcomes)])

st.header("What you can say now", anchor=False)
st.markdown(WORDS["sentences"])
sections.draw_sentences(said)

st.header("Guessed and measured", anchor=False)
sections.guesses(outcomes)

st.header("Take it home", anchor=False)
sections.draw_report(evidence, outcomes, said)

st.header("What to try next", anchor=False)
sections.draw_next(evidence)

st.header("What the tutorial concludes", anchor=False)
sections.draw_tutorial(evidence)

lesson.misconception("A faster GPU is the first thing to buy", WORDS["misconception"])
lesson.show_pytorch(CPU_CODE.strip(), GPU_CODE.strip())
lesson.next_page("predict.py", "Next: show your network a picture of your own")
