"""The notebook of a run: its code honours every setting, for it learns what the run learned.

Each setting's notebook is executed here beside a training by the lab itself, on the same tiles: both must end with the
same figures. One is executed as a participant would, in a kernel of its own.
"""

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from run_makers import TEN, make_record, through

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import find_weights
from eurosat_core.errors import RunError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.history import History
from eurosat_core.runs.record import TilesUsed
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.training.evaluation import evaluate_predictions
from eurosat_core.training.events import EpochDone, Started
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.sources import split_for
from eurosat_core.words.notebook import Told, notebook, notebook_cells

CONFIG = TrainConfig(source="memory", epochs=2, tiles=60, batch_size=20, learning_rate=0.02)
OWN = "conv 8 3 stride 2, batchnorm, relu, residual 8, dropout 0.3, adaptiveavgpool 2, flatten, linear out"
TILENET = replace(CONFIG, model="tilenet", tiles=40, epochs=1)
EFFICIENT = replace(CONFIG, model="efficientnet_lite0", tiles=40)
needs_weights = pytest.mark.skipif(
    find_weights("efficientnet_lite0", Path()) is None, reason="the weights of EfficientNet-Lite0 are not installed"
)

# For every setting, trainings that have another value of it than the one beside it. A setting that is missing here is
# one that nobody made sure of in the notebook.
LEARNED: dict[str, list[tuple[TrainConfig, TrainConfig]]] = {
    "model": [(TILENET, CONFIG), (replace(CONFIG, model="custom"), TILENET)],
    "epochs": [(replace(CONFIG, epochs=3), CONFIG)],
    "tiles": [(replace(CONFIG, tiles=None, epochs=1), CONFIG)],
    "batch_size": [(replace(CONFIG, batch_size=13), CONFIG)],
    "optimizer": [
        (replace(CONFIG, optimizer=each, learning_rate=0.001), CONFIG) for each in ("adam", "adamw", "adagrad")
    ],
    "learning_rate": [(replace(CONFIG, learning_rate=0.03), CONFIG)],
    "schedule": [(replace(CONFIG, schedule=each), CONFIG) for each in ("cosine", "one_cycle")],
    "nesterov": [(replace(CONFIG, nesterov=True), CONFIG)],
    "label_smoothing": [(replace(CONFIG, label_smoothing=0.2), CONFIG)],
    "symmetries": [(replace(CONFIG, symmetries=True), CONFIG)],
    "shift": [(replace(CONFIG, symmetries=True, shift=6), replace(CONFIG, symmetries=True))],
    "colour_jitter": [(replace(CONFIG, colour_jitter=0.5), CONFIG)],
    "progressive_resizing": [(replace(TILENET, progressive_resizing=True, symmetries=True, shift=4), TILENET)],
    "stem_pool": [(replace(TILENET, stem_pool=False, tiles=20), replace(TILENET, tiles=20))],
    "momentum": [(replace(CONFIG, momentum=0.5), CONFIG)],
    "weight_decay": [(replace(CONFIG, optimizer="adamw", learning_rate=0.001, weight_decay=1.0), CONFIG)],
    "source": [(replace(CONFIG, source="loader", workers=0, seed=7), CONFIG)],
    "channels_last": [(replace(CONFIG, channels_last=True, seed=3), CONFIG)],
    "precision": [(replace(CONFIG, precision="bfloat16"), CONFIG)],
    "stratified": [(replace(CONFIG, stratified=True), CONFIG)],
    "seed": [(replace(CONFIG, seed=5), CONFIG)],
    "train_fraction": [(replace(CONFIG, train_fraction=0.5), CONFIG)],
    "sealed_test": [(replace(CONFIG, sealed_test=True), CONFIG)],
    "network": [(replace(CONFIG, model="custom", network=OWN, batch_size=11), CONFIG)],  # 45 = 4 × 11 + 1
    "input_side": [
        (replace(EFFICIENT, pretrained=False, tiles=20, epochs=1, input_side=96, source=each), EFFICIENT)
        for each in ("memory", "features")
    ],
    "pretrained": [(replace(EFFICIENT, pretrained=False), CONFIG)],
}
FROM_WEIGHTS: dict[str, list[tuple[TrainConfig, TrainConfig]]] = {
    "source": [(replace(EFFICIENT, source="features"), CONFIG)],
    "frozen_norms": [(replace(EFFICIENT, frozen_norms=False, epochs=1), CONFIG)],
}
# Those that change how a run is computed and not what it learns: what its code says about them.
SAID = {
    "recipe": (recipe_config("baseline", "fast", precision="float32", channels_last=False), "Fast"),
    "device": (replace(CONFIG, device="cuda:0"), 'torch.device("cuda:0" if'),
    "workers": (replace(CONFIG, source="loader", workers=3), "num_workers=3"),
    "prefetch": (replace(CONFIG, source="loader", prefetch=4), "prefetch_factor=4"),
    "pin_memory": (replace(CONFIG, source="loader", device="cuda:0", pin_memory=True), "pin_memory=True"),
    "deterministic": (replace(CONFIG, device="cuda:0", deterministic=True), "use_deterministic_algorithms(True)"),
    "execution": (replace(CONFIG, execution="compiled"), "torch.compile(network"),
    "keep_epochs": (replace(CONFIG, keep_epochs=True), "model_epoch_{epoch:03d}.pt"),
    "split": (replace(CONFIG, split="place"), "eurosat-spatial-{part}.txt"),
}


def done(config: TrainConfig, tiles: TileSet) -> tuple[Any, Told]:
    """A training by the lab: its record, and what it left behind."""
    kept: list[Checkpoint] = []
    events = list(train(config, tiles, kept.append))
    history = History(
        started=next(each for each in events if isinstance(each, Started)),
        epochs=tuple(each for each in events if isinstance(each, EpochDone)),
    )
    split = split_for(config, tiles)
    parts = {name: getattr(split, name).tolist() for name in ("train", "validation", "test")}
    answers = kept[-1].predictions
    evaluation = evaluate_predictions(answers.true, answers.predicted, tiles.class_names)
    return make_record(config=config, tiles=TilesUsed.of(tiles)), Told(history, parts, evaluation)


def code_of(config: TrainConfig, **changes: Any) -> str:
    """The code of a notebook of a run that was never made."""
    record = make_record(config=config, **changes)
    return "\n".join(text for kind, text in notebook_cells(record, Told(through(0.3, 0.5)), "ada") if kind == "code")


@pytest.fixture
def beside_pictures(small_tiles: TileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TileSet:
    """Where a notebook of a run on pictures of one's own looks for them."""
    (tmp_path / "pictures").symlink_to(small_tiles.place)
    monkeypatch.chdir(tmp_path)
    return small_tiles


def executed(cells: list[tuple[str, str]]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "notebook"}
    with torch.random.fork_rng(devices=[]):
        for kind, text in cells:
            if kind == "code":
                exec(compile(text, "cell", "exec"), names)
    return names


def figures(epoch: EpochDone) -> tuple[float, float, float, float]:
    return epoch.train_loss, epoch.train_accuracy, epoch.val_loss, epoch.val_accuracy


def learns_the_same(config: TrainConfig, other: TrainConfig, tiles: TileSet, capsys: Any) -> None:
    record, told = done(config, tiles)
    ran = executed(notebook_cells(record, told, "ada"))
    near = pytest.approx(figures(told.history.epochs[-1]), rel=3e-2 if config.precision == "bfloat16" else 2e-4)
    assert (ran["train_loss"], ran["train_accuracy"], ran["loss"], ran["accuracy"]) == near
    printed = capsys.readouterr().out
    assert "exactly the run’s" in printed and f"{told.history.started.parameters:,} parameters" in printed
    assert f"{told.history.started.trainable_parameters:,} of them" in printed
    assert ran["confusion"].tolist() == [list(row) for row in told.evaluation.confusion]
    if other.model == config.model:
        assert code_of(config) != code_of(other)


def cases(table: dict[str, list[tuple[TrainConfig, TrainConfig]]]) -> list[Any]:
    return [pytest.param(*each, id=f"{name}{at}") for name, every in table.items() for at, each in enumerate(every)]


@pytest.mark.processor
@pytest.mark.parametrize(("config", "other"), cases(LEARNED))
def test_it_learns_what_the_run_learned(
    config: TrainConfig, other: TrainConfig, beside_pictures: TileSet, capsys: pytest.CaptureFixture[str]
) -> None:
    learns_the_same(config, other, beside_pictures, capsys)


@needs_weights
@pytest.mark.processor
@pytest.mark.parametrize(("config", "other"), cases(FROM_WEIGHTS))
def test_it_starts_from_the_published_weights(
    config: TrainConfig, other: TrainConfig, beside_pictures: TileSet, capsys: pytest.CaptureFixture[str]
) -> None:
    learns_the_same(config, other, beside_pictures, capsys)


@pytest.mark.parametrize("name", SAID)
def test_what_changes_no_result_stands_in_it(name: str) -> None:
    config, words = SAID[name]
    cells = notebook_cells(make_record(config=config), Told(through(0.3)), "ada")
    assert any(words in text for _, text in cells)
    for kind, text in cells:
        if kind == "code":
            compile(text, name, "exec")


def test_every_setting_has_its_test() -> None:
    assert {*LEARNED, *FROM_WEIGHTS, *SAID} == set(SETTINGS)
    assert {config.model for every in (*LEARNED.values(), *FROM_WEIGHTS.values()) for config, _ in every} | {
        "vgg11_bn"
    } == set(CATALOG)


def test_vgg_is_torchvisions_with_one_layer_that_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    real = models.vgg11_bn
    monkeypatch.setattr(models, "vgg11_bn", lambda weights=None: real(weights=None))
    config = recipe_config("vgg11_bn", "fast", precision="float32")
    cells = [text for _, text in notebook_cells(make_record(config=config), Told(through(0.3)), "ada")]
    made, fed = (next(each for each in cells if words in each) for words in ("network = vgg11_bn", "def frozen_part"))
    names: dict[str, Any] = {"__name__": "notebook", "SEED": 1, "CLASSES": TEN, "DEVICE": torch.device("meta")}
    exec("import torch\nfrom torch import nn", names)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        exec(made, names)
        exec(fed[: fed.index("def computed")], names)
        assert sum(each.numel() for each in names["network"].parameters()) == 128_812_810
        assert sum(each.numel() for each in names["trained"]) == 40_970
        network = names["network"].eval()
        assert names["frozen_part"](torch.zeros(2, 3, 64, 64)).shape == (2, 4096)
        assert names["head"](torch.zeros(2, 4096)).shape == network(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


@pytest.mark.parametrize(("sealed", "tiles"), [(False, None), (True, 400)])
def test_the_split_by_place_is_the_runs(
    sealed: bool, tiles: int | None, eurosat_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real names; nothing is decoded."""
    from torchvision.datasets import ImageFolder

    from eurosat_core.data.splits import import_lists, make_place_split, parts_of

    import_lists(eurosat_root, tmp_path)
    pictures = ImageFolder(str(eurosat_root / "eurosat" / "2750"))
    names = tuple("/".join(Path(path).parts[-2:]) for path, _ in pictures.samples)
    labels, parts = torch.tensor(pictures.targets), torch.from_numpy(parts_of(names, tmp_path))
    split = make_place_split(labels, parts, seed=42, tiles=tiles, sealed_test=sealed)
    config = replace(CONFIG, split="place", tiles=tiles, sealed_test=sealed)
    cells = notebook_cells(make_record(config=config), Told(through(0.3)), "ada")
    text = next(text for _, text in cells if "def listed" in text)
    told: dict[str, Any] = {"__name__": "notebook", "SEED": 42, "DATA": str(eurosat_root), "torch": torch}
    told |= {"Path": Path, "labels": labels, "pictures": pictures}
    exec("import hashlib", told)
    exec(text, told)
    assert torch.equal(told["train"], split.train) and torch.equal(told["validation"], split.validation)
    assert not sealed or torch.equal(told["test"], split.test)


def test_a_participant_can_run_it(beside_pictures: TileSet) -> None:
    """In a kernel of its own, which this project is no part of."""
    record, told = done(replace(CONFIG, source="loader", workers=0), beside_pictures)
    book = nbformat.reads(notebook(record, told, "ada").decode(), as_version=4)
    nbformat.validate(book)
    asked = "import sys\nprint([each for each in sys.modules if each.split('.')[0] in ('eurosat_core', 'streamlit')])"
    book.cells.append(nbformat.v4.new_code_cell(asked))
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(Path.cwd())}}).execute()
    printed = ["".join(each.text for each in cell.outputs) for cell in book.cells if cell.cell_type == "code"]
    assert printed[-1] == "[]\n"
    found = re.findall(r"training loss ([\d.]+)", "".join(printed))
    assert [float(each) for each in found] == pytest.approx([each.train_loss for each in told.history.epochs], rel=1e-3)


@pytest.mark.hostile
def test_names_from_outside_are_neither_code_nor_markup() -> None:
    evil = 'a"\n%% code\nimport os  # <script>alert(1)</script> ![](//a.co/x) [x](javascript:x)'
    tiles = TilesUsed("print", "folder", "/secret/place", 100, (evil, "River"))
    record = replace(make_record(tiles=tiles, recorded_on=evil), machine={"device_name": evil, "torch": evil})
    cells = notebook_cells(
        record, Told(through(0.3), None, evaluate_predictions(*[torch.tensor([0, 1])] * 2, (evil, "River"))), evil
    )
    plain = notebook_cells(make_record(tiles=replace(tiles, class_names=("a", "River"))), Told(through(0.3)), "ada")
    kinds = [kind for kind, _ in cells]
    assert kinds[: len(plain) - 1] == [kind for kind, _ in plain][:-1], "no cell more than the template has"
    for kind, text in cells:
        assert "/secret" not in text
        if kind == "code":
            assigned = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Import)]
            assert not any(name.name == "os" and name.asname for each in assigned for name in each.names)
        else:
            assert not re.search(r"(?<!\\)<script|(?<!\\)!\[|(?<!\\)\]\(", text)
    settings = next(text for _, text in cells if "CLASSES = " in text)
    line = next(each for each in settings.splitlines() if each.startswith("CLASSES"))
    assert ast.literal_eval(line.removeprefix("CLASSES = ")) == [evil, "River"]


def test_what_differs_from_the_run_is_said() -> None:
    def notes(**changes: Any) -> str:
        record = replace(make_record(), **changes)
        return notebook_cells(record, Told(through(0.3, 0.5)), "ada")[0][1]

    config = make_record().config
    assert "CUDA graph" in notes(config=replace(config, device="cuda:0", execution="graph"))
    assert "synthetic" in notes(tiles=replace(make_record().tiles, source="synthetic"))
    assert "`FOLDER`" in notes(tiles=replace(make_record().tiles, source="folder"))
    assert "after 2" in notes(config=replace(config, epochs=9)) and "after 2" not in notes(
        config=replace(config, epochs=2)
    )
    assert "float32" in notes(config=replace(config, precision="auto"))
    assert "H100" in notes(recorded_on="H100") and "beside the run" in notes(concurrent_runs=("other",))


def test_a_run_without_an_epoch_has_none() -> None:
    for told in (Told(History()), Told(replace(through(0.3), epochs=()))):
        with pytest.raises(RunError):
            notebook(make_record(), told, "ada")
