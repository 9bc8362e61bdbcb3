"""A mistyped command is told what is wrong before anything that takes seconds is imported, and before a database is asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import InputError
from ingest.checkpoints import hub
from ingest.checkpoints.architectures import ARCHITECTURES
from ingest.checkpoints.first_looks import check_models
from tests.commands import use_published_family
from tests.published_rows import MODELS

settings = use_published_family
ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "spacy", "pandas", "numba", "transformer_lens", "datasets")

PROGRAM = """
import contextlib, io, json, sys
from cli.main import main
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, out.getvalue(), err.getvalue(), [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""
"""The real command line, one command after the other in one fresh process, and what each has imported by then."""


def model(folder: Path, *files: str, **config: object) -> Path:
    """What a look at names and at config.json takes for a checkpoint, unless something is left out or overwritten."""
    folder.mkdir(parents=True)
    described = {"model_type": "gpt2", "n_positions": 32, **config}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in described.items() if value is not None}))
    for name in files or ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models, good and bad, and corpora; relative names in commands are names in it."""
    for name in ("good-a", "good-b"):
        model(tmp_path / name)
    model(tmp_path / "other" / "good-a")
    model(tmp_path / "mamba", model_type="mamba", rms_norm_eps=1e-6)
    model(tmp_path / "bert", model_type="bert")
    model(tmp_path / "untyped", model_type=None)
    model(tmp_path / "no-weights", "tokenizer.json")
    model(tmp_path / "no-tokenizer", "model.safetensors")
    (tmp_path / "no-config").mkdir()
    for name, text in (("damaged", "{"), ("a-list", "[1]")):
        (model(tmp_path / name) / "config.json").write_text(text)
    (tmp_path / "corpus.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "corpus.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "topics.csv").write_text("token,subject\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def answers(commands: list[list[str]]) -> list[tuple[int, str, str, list[str]]]:
    program = [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps(commands), json.dumps(HEAVY)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


GOOD = ["good-a", "good-b", "--corpus", "corpus.jsonl"]
NUMBERS = "--max-tokens 1000".split()

MISTYPED = [
    # models
    (["ingest", "good-a", "goud-b", "--corpus", "corpus.jsonl"], "there is no folder 'goud-b' (did you mean good-b?), and"),
    (["ingest", "./good-c", "good-b", "--corpus", "corpus.jsonl"], "there is no folder './good-c' (did you mean ./good-"),
    (["ingest", "good-a", "no-config", "--corpus", "corpus.jsonl"], "is no checkpoint, it has no config.json"),
    (["ingest", "good-a", "damaged", "--corpus", "corpus.jsonl"], "damaged/config.json cannot be read"),
    (["ingest", "good-a", "a-list", "--corpus", "corpus.jsonl"], "it holds no JSON object"),
    (["ingest", "good-a", "untyped", "--corpus", "corpus.jsonl"], "names no model_type"),
    (["ingest", "good-a", "bert", "--corpus", "corpus.jsonl"], "is a 'bert' model, an architecture without description here"),
    (["ingest", "good-a", "mamba", "--corpus", "corpus.jsonl"], "is a 'mamba' model"),
    (["ingest", "good-a", "no-weights", "--corpus", "corpus.jsonl"], "no-weights has no weights"),
    (["ingest", "good-a", "no-tokenizer", "--corpus", "corpus.jsonl"], "no-tokenizer has no tokenizer"),
    (["ingest", "good-a", "good-a", "--corpus", "corpus.jsonl"], "good-a is given twice"),
    (["ingest", "good-a", "other/good-a", "--corpus", "corpus.jsonl"], "are both named 'good-a'; rename one as NEWNAME="),
    (["ingest", "good-a", "--corpus", "corpus.jsonl"], "at least two models are needed for correlations"),
    (["ingest", "good-a@main", "good-b", "--corpus", "corpus.jsonl"], "has no revision 'main'"),
    # corpora
    (["ingest", "good-a", "good-b"], "--corpus is missing"),
    (["ingest", "good-a", "good-b", "--corpus", ""], "--corpus is empty"),
    (["ingest", "good-a", "good-b", "--corpus", "nothing.jsonl"], "there is no corpus 'nothing.jsonl'"),
    (["ingest", "good-a", "good-b", "--corpus", "corpus.txt"], "corpus.txt is no corpus file"),
    (["ingest", "good-a", "good-b", "--corpus", "empty"], "the folder empty has no file that ends in"),
    (["ingest", "good-a", "good-b", "--corpus", "owner/absent"], "there is no corpus 'owner/absent' here, and the hub"),
    # parts, ranges, devices, files
    (["ingest", *GOOD, "--only", "Weight"], "--only 'Weight' is no part of a run (did you mean weights?)"),
    (["ingest", *GOOD, "--context", "33"], "--context 33 is longer than the models read; give at most 32."),
    (["ingest", *GOOD, "--context", "1"], "--context 1 is too small"),
    (["ingest", *GOOD, "--top-k", "9" * 25], "is too large"),
    (["ingest", *GOOD, "--seed", "-1"], "--seed -1 is too small"),
    (["ingest", *GOOD, "--memory", "inf"], "--memory inf is no finite number"),
    (["ingest", *GOOD, "--checkpoint-minutes", "nan"], "--checkpoint-minutes nan is no finite number"),
    (["ingest", *GOOD, "--device", "gpu"], "--device 'gpu' is no device"),
    (["ingest", *GOOD, "--device", "cuda:x"], "--device 'cuda:x' is no device"),
    (["ingest", *GOOD, "--precision", "bf-16"], "--precision 'bf-16' is not offered (did you mean bf16?)"),
    (["ingest", *GOOD, "--precision", "tf32", "--device", "cpu"], "--precision tf32 needs --device cuda:N"),
    (["ingest", *GOOD, "--spacy-model", "xx_none"], "is not installed; run `pip install xx-none`"),
    (["ingest", *GOOD, "--topics", "absent.csv"], "--topics absent.csv cannot be read"),
    (["ingest", *GOOD, "--topics", "topics.csv"], "--topics topics.csv lacks a column"),
    (["ingest", *GOOD, "--staging", "/dev/null/x"], "the staging folder /dev/null/x cannot be written"),
    (["plan", "/absent/model", "good-b", *NUMBERS], "there is no folder '/absent/model'"),
    (["plan", "zzz", "good-b", *NUMBERS], "there is no folder 'zzz', and the hub cannot be asked"),
    (["plan", "good-a", "bert", *NUMBERS], "is a 'bert' model"),
    (["plan", "good-a", "good-b"], "a plan needs the number of tokens"),
    (["plan", "good-a", "good-b", "--corpus", "nothing.jsonl"], "there is no corpus 'nothing.jsonl'"),
    (["plan", "good-a", "good-b", *NUMBERS, "--device", "gpu"], "--device 'gpu' is no device"),
    (["worker", "--device", "gpu"], "--device 'gpu' is no device"),
    (["worker", "--memory", "0"], "--memory 0.0 is no budget"),
    (["worker", "--stalled", "5", "--heartbeat", "9"], "--stalled 5 would give up workers between two signs of life"),
    (["intervene", MODELS[0], "0.3", "--device", "gpu"], "--device 'gpu' is no device"),
    (["intervene", MODELS[0], "0.3", "--tokens", "0"], "--tokens 0 is too small"),
    (["intervene", MODELS[0], "0.3,0.3"], "each neuron once"),
    (["intervene", MODELS[0], "0.3", "--fix", "1e39"], "cannot take the value 1e+39"),
    (["intervene", MODELS[0].upper(), "0.3"], f"(did you mean {MODELS[0]}?)"),
    (["intervene", MODELS[0], "9.9"], "its layers are 0 to 1"),
    (["intervene", MODELS[0], "0.3", "--run", "99"], "there is no published run 99"),
    (["ablate", MODELS[0], "0.3", "1.99"], "has no head 1.99"),
    (["ablate", MODELS[0], "0.3", "0.0"], "does not act on heads of layer 0"),
    (["ablate", MODELS[0], "0.3", "1.0", "--device", "gpu"], "--device 'gpu' is no device"),
    (["verify", "1", "--device", "gpu"], "--device 'gpu' is no device"),
]  # fmt: skip


def test_a_mistyped_command_is_answered_before_anything_heavy_is_imported(settings, folder):
    assert len(MISTYPED) > 50
    for (arguments, said), (code, out, err, heavy) in zip(
        MISTYPED, answers([arguments for arguments, _ in MISTYPED]), strict=True
    ):
        assert (code, out, heavy) == (1, "", []), (arguments, err)
        assert said in err and err.startswith("error: ") and err.count("\n") == 1, (arguments, err)


def test_a_run_that_is_not_there_is_told_by_verify_without_torch(settings):
    ((code, _, err, heavy),) = answers([["verify", "99"]])
    assert code == 1 and "there is no run 99" in err and "torch" not in heavy


def test_a_server_without_a_schema_is_told_before_anything_heavy_is_imported(settings, empty_database_url, folder):
    settings.setenv("CATALOG_DATABASE_URL", empty_database_url)
    commands = [["ingest", *GOOD], ["worker"], ["intervene", "m", "0.1"], ["ablate", "m", "0.1", "1.0"]]
    for command, (code, out, err, heavy) in zip(commands, answers(commands), strict=True):
        assert (code, out, heavy) == (1, "", []), (command, err)
        assert err == "error: the schema is missing; run `catalog db upgrade`.\n", command


def test_what_is_right_passes_the_first_checks(folder):
    for kind in ARCHITECTURES:
        model(folder / kind, model_type=kind)
    sources = check_models([f"{kind}={folder / kind}" for kind in ARCHITECTURES], ("correlations",), context=32)
    assert [source.name for source in sources] == list(ARCHITECTURES)
    (folder / "gpt2" / "tokenizer.json").unlink()
    assert check_models(["gpt2"], ("weights",), None, only_configurations=True)[0].is_local


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("absent", r"there is no folder 'owner/name', and no model owner/name on the hub that may be read"),
        ("unreachable", r"there is no folder 'owner/name', and the hub cannot be asked for such a model \(no route\)"),
        ("there", r"is a 'bert' model, an architecture without description here; those that work are"),
        ("unknown", None),
    ],
)
def test_what_the_hub_says_of_a_name(monkeypatch, tmp_path, state, said):
    """The hub's answer is not ours to bring about, so here it is given."""
    monkeypatch.chdir(tmp_path)
    answer = hub.HubAnswer(state, model_type="bert" if state == "there" else None, reason="no route")
    monkeypatch.setattr("ingest.checkpoints.first_looks.ask_hub", lambda kind, name, revision: answer)
    if said is None:
        assert not check_models(["owner/name"], ("weights",), None)[0].is_local
        return
    with pytest.raises(InputError, match=said):
        check_models(["owner/name"], ("weights",), None)
