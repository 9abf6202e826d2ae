"""Train: see it learn, on the CPU or a GPU."""

import streamlit as st

from eurosat_core.errors import RunError
from eurosat_core.lab import findings
from pages.parts import lesson, live_run, model_table, run_result, session, train_settings, train_start, train_state

WORDS = lesson.text("train")
GUESSES = findings.ACCURACY_GUESSES

CPU_CODE = """
network = Net()
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
batches = DataLoader(tiles, batch_size=40, shuffle=True, num_workers=2)

for epoch in range(epochs):
    network.train()
    for pictures, labels in batches:        # one step:
        scores = network(pictures)          #   forward
        loss = cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()                     #   backward
        optimizer.step()                    #   update
    network.eval()
    with torch.no_grad():                   # judge it on other tiles
        for pictures, labels in validation_batches:
            right += (network(pictures).argmax(1) == labels).sum()
"""
GPU_CODE = """
network = Net().to("cuda")
optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
batches = DataLoader(tiles, batch_size=40, shuffle=True, num_workers=2,
                     pin_memory=True)

for epoch in range(epochs):
    network.train()
    for pictures, labels in batches:        # one step:
        pictures = pictures.to("cuda", non_blocking=True)
        labels = labels.to("cuda", non_blocking=True)
        scores = network(pictures)          #   forward
        loss = cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()                     #   backward
        optimizer.step()                    #   update
    network.eval()
    with torch.no_grad():                   # judge it on other tiles
        for pictures, labels in validation_batches:
            pictures, labels = pictures.to("cuda"), labels.to("cuda")
            right += (network(pictures).argmax(1) == labels).sum()
"""

lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("train_accuracy", WORDS["guess"], list(GUESSES))

run_id = session.page_run("train")
record = None
problem = ""
if run_id is not None:
    try:
        record = session.lab().run(run_id)
    except RunError as error:
        problem = str(error)

if problem:
    run_result.missing(problem)
train_state.prepare()
# Folded away once there is a run to look at, so that its curves come into view; another key folds it for each new run.
folded = record is not None
with st.expander(
    f"Settings: {train_state.in_short()}" if folded else "Settings",
    expanded=not folded,
    icon=":material/tune:",
    key=f"train_settings_{record.id if record else ''}",
):
    settings, model = st.columns(2, gap="medium")
    with settings:
        train_settings.draw()
        train_start.draw()
    with model:
        model_table.draw(train_state.architecture())

if record is None and not problem:
    st.info(WORDS["empty"], icon=":material/model_training:")
elif record is not None:
    live_run.draw(record)
    st.caption(WORDS["reading"])
    if not record.is_active:
        run_result.draw(record, GUESSES.get(guessed or ""))
if record is not None and not record.is_active:
    lesson.misconception("100 % training accuracy is the goal", WORDS["misconception perfect"])
else:
    luck = findings.luck(session.lab().history(record.id)) if record else ""
    jumps = f"{WORDS['misconception jumps']} {luck}".strip()
    lesson.misconception("Validation accuracy jumps up and down: something is broken", jumps)
lesson.show_pytorch(CPU_CODE.strip(), GPU_CODE.strip())
lesson.next_page("profiler.py", "Next: where does the time go?")
