# Two commands: `make app` starts the web app, `make test` runs the whole suite. Both install what they need.

# Which torch: any range pip understands. For a CPU-only build from the torch index use
#   make install TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
PYTHON ?= $(shell for v in python3.12 python3.11 python3.10 python3; do \
	"$$v" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && command -v "$$v" && break; done)
EXTRAS ?= app,voice,train,evaluation
PORT ?= 7860

VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml Makefile CMakeLists.txt $(wildcard synctalk/portrait/splat/native/*)

.PHONY: app demo install test lint format clean help

app: install  ## start the web app on 127.0.0.1:7860
	$(BIN)/python app.py --port $(PORT)

demo: demo.mp4  ## a typed sentence becomes demo.mp4

demo.mp4: $(VENV)/.installed
	$(BIN)/synctalk speak --text "Hello. I am Ben, and every word you hear was typed a moment ago." \
		--avatar ben --voice am_michael -o demo.mp4

install: $(VENV)/.installed  ## create .venv with everything the app needs

test: $(VENV)/.tests-installed  ## run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.tests-installed  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.tests-installed  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@sh .ci/system-packages "$(PYTHON)" run
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# torch goes first and alone, so that the version named above is the one everything else finds.
$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	@sh .ci/system-packages "$(PYTHON)" run
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]"
	@touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	@sh .ci/system-packages "$(PYTHON)" test
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS),test]"
	@touch $@

clean:  ## remove what was built
	rm -rf $(VENV) build demo.mp4

help:  ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'
