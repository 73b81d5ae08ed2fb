# Everything a contributor runs. `make` alone lists it.
#
# The first target that needs it builds .venv: from a bare python3, with every package pinned by
# hash in requirements/. It is brought up to date when a lock file or pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
ARGS ?=

BOOTSTRAPPED := $(VENV)/.bootstrapped
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo run test sim requirements mta lint format proto templates screenshots lock bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make or refresh .venv; every other target does it by itself
	@:

demo: $(INSTALLED) ## Show a shop's season in a minute on the embedded server (DEMO_JSON=file: as JSON; DEMO_HTML=file: a mail)
	@mkdir -p build
	@$(BIN)/afterword demo $(if $(DEMO_JSON),--json $(DEMO_JSON)) --html $(or $(DEMO_HTML),build/demo-mail.html) $(ARGS)

run: $(INSTALLED) ## Run the daemon in the foreground (ARGS="--help" for its options)
	@$(BIN)/afterword serve $(ARGS)

test: $(INSTALLED) ## Run the tests that are not marked slow (ARGS="-k word" for some)
	@$(BIN)/python -m pytest -q -n auto --dist loadfile --benchmark-disable -m "not slow" $(ARGS)

sim: $(INSTALLED) ## Run the long comparisons with naive models (a million sends against every cap)
	@$(BIN)/python -m pytest -q -n auto --benchmark-disable -m slow tests/property tests/simulation $(ARGS)

requirements: $(INSTALLED) ## Tell which requirement is proved by which tests (ARGS="--strict A1 B2-B9" to insist)
	@$(BIN)/python -m tests.requirements.report $(ARGS)

mta: ## Fetch Debian's Postfix into build/mta for the tests against a real mail server; installs nothing
	@$(fetch_mta)

lint: $(INSTALLED) build/googleapis ## Check style, types, layers and the API
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff . | head -50; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@said=$$($(BIN)/lint-imports --no-cache --no-logo 2>&1) || { echo "$$said"; exit 1; }
	@$(BIN)/buf lint
	@$(buf_breaking)

format: $(INSTALLED) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

proto: $(INSTALLED) ## Generate the stubs anew from proto/afterword/v1/*.proto
	@$(BIN)/python proto/generate.py

templates: $(INSTALLED) ## Compile the layouts of e-mails anew from senders/layouts/data/*.mjml
	@$(BIN)/python -m tests.layouts.compile

screenshots: $(INSTALLED) ## Take the pictures of docs/MESSAGES.md anew, where Chromium is installed
	@$(BIN)/python -m tests.layouts.screenshots $(ARGS)

lock: $(BOOTSTRAPPED) ## Compile the lock files anew (ARGS=--upgrade for newer versions)
	@cd requirements && for name in bootstrap runtime dev; do \
	  ../$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate $(ARGS) $$name.in -o $$name.txt || exit 1; \
	done

bench: $(INSTALLED) ## Run the benchmarks and write the report (ARGS="--help" for its options)
	@$(BIN)/python -m bench $(ARGS)

clean: ## Remove caches and everything built; .venv stays
	@rm -rf build dist proto/build proto/dist *.egg-info proto/*.egg-info \
	  .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- the environment ----------------------------------------------------------------------------

# Debian leaves ensurepip to a package of its own.
define install_venv
if ! command -v apt-get >/dev/null; then \
  echo "'$(PYTHON) -m venv' does not work here: install Python's venv and ensurepip modules" >&2; exit 1; \
elif [ "$$(id -u)" != 0 ]; then \
  echo "'$(PYTHON) -m venv' does not work here. Run: sudo apt-get install -y python3-venv" >&2; exit 1; \
else \
  echo "installing python3-venv" >&2; \
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null; \
fi
endef

$(BOOTSTRAPPED): requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(install_venv); }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes \
	  -r requirements/bootstrap.txt
	@touch $@

$(INSTALLED): $(BOOTSTRAPPED) requirements/dev.txt pyproject.toml proto/pyproject.toml
	@echo "setting up $(VENV)" >&2
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e proto -e .
	@touch $@

# --- a real mail server --------------------------------------------------------------------------

# Never fails: the tests that need it say why they skip. apt-get checks the signatures, and leaves out
# what is installed already. Only root can start Postfix, so for others there is nothing to fetch.
define fetch_mta
if [ -e build/mta/.fetched ]; then exit 0; fi; \
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
  echo "mta: skipped, needs root and apt-get" >&2; exit 0; \
fi; \
rm -rf build/mta && mkdir -p build/mta/packages/partial && \
fetch() { timeout 300 apt-get install -y -qq --no-install-recommends --download-only \
  -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Acquire::http::Timeout=20 \
  -o Dir::Cache::archives="$(CURDIR)/build/mta/packages/" \
  postfix sasl2-bin libsasl2-modules libsasl2-modules-db >/dev/null 2>&1; } && \
{ fetch || { timeout 300 apt-get update -qq >/dev/null 2>&1; fetch; }; } && \
find build/mta/packages -name '*.deb' -exec dpkg -x {} build/mta \; && \
rm -rf build/mta/packages && touch build/mta/.fetched || \
echo "mta: could not be fetched, its tests will skip" >&2
endef

# --- the API's checks ---------------------------------------------------------------------------

# buf reads .proto files only, and ours import some of Google's.
build/googleapis: $(INSTALLED)
	@$(BIN)/python proto/generate.py --copy-googleapis $@
	@touch $@

# Against the newest tag that has an API, with the present rules.
define buf_breaking
tag=$$(for tag in $$(git tag --merged HEAD --sort=-creatordate 2>/dev/null); do \
  if git cat-file -e "$$tag:proto/afterword/v1" 2>/dev/null; then echo "$$tag"; break; fi; done); \
if [ -z "$$tag" ]; then echo "buf breaking: skipped, no release to compare with"; exit 0; fi; \
rm -rf build/released && mkdir -p build/released/build && \
git archive "$$tag" proto | tar -x -C build/released && \
cp buf.yaml build/released/ && cp -r build/googleapis build/released/build/ && \
$(BIN)/buf breaking --against build/released
endef
