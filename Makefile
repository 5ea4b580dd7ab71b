# The front door: every step is one line over the `fsod` command of .venv, which is made on first use.

CONFIG ?= configs/demo.yaml
DATA ?=
SCENE ?=
EXAMPLES ?=
AREA ?=
CHECKPOINT ?=
BANK ?= runs/bank.safetensors
OUT ?= runs/found.geojson
SHOTS ?=
SEED ?=
PORT ?= 5000
SET ?=
PYTHON ?= python3

## CONFIG=configs/nwpu.yaml    settings of a run (default configs/demo.yaml)
## SET="section.key=value ..." settings to change for this run
## DATA=FOLDER                 the data set as it was downloaded (data)
## SHOTS=10 SEED=1             boxes per class, base and novel, and which draw of them (finetune, evaluate)
## SCENE=FILE EXAMPLES=FILE    a raster; a GeoJSON of labelled boxes on it (enroll, finetune, predict)
## AREA=FILE                   polygons in which everything is marked (finetune)
## CHECKPOINT=FILE             other weights than those of CONFIG or BANK (enroll, predict)
## BANK=FILE                   the class bank, or the detector of your marks (default runs/bank.safetensors)
## OUT=FILE                    the layer of detections (default runs/found.geojson)
## PORT=5000                   of the dashboard
## TORCH_INDEX=URL             where torch comes from (install); without a CUDA GPU take the small CPU build:
##                             make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
## PYTHON=python3.12           the Python to make .venv with (3.11 or newer)

INSTALLED := .venv/.installed
FSOD := .venv/bin/fsod
PIP := .venv/bin/python -m pip
CONSTRAINTS := configs/constraints.txt

# A torch index, once given, holds for later installations too; another one replaces the build there is.
TORCH_INDEX_OF_VENV := $(shell cat .venv/torch_index 2>/dev/null)
TORCH_INDEX ?= $(TORCH_INDEX_OF_VENV)
ifneq ($(TORCH_INDEX),$(TORCH_INDEX_OF_VENV))
$(INSTALLED): FORCE
replace := --force-reinstall
endif

# Stops with one line where a variable that a step needs is empty: $(call need,SCENE BANK)
need = $(foreach v,$(1),$(if $($(v)),,$(error make $@ needs $(v)=..., see `make help`)))
weights = $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")
shots = $(if $(SHOTS),--shots-k $(SHOTS)) $(if $(SEED),--seed $(SEED))

# What is imported is compiled once, not by every process anew: containers often say otherwise.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # `make data meta-train finetune` is a sequence, whatever -j says
.PHONY: help install demo data docs pretrain meta-train finetune evaluate enroll predict dashboard bench-model bench-scenes test lint style clean FORCE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
	@echo; echo "Variables:"; sed -n 's/^## /  /p' Makefile

install: $(INSTALLED) ## make .venv (every other target does it too)
	@echo "Ready: $(FSOD) --help"

demo: $(INSTALLED) ## the whole road on drawn scenes, in minutes, without any download
	$(FSOD) demo $(SET)

data: $(INSTALLED) ## prepare a data set: CONFIG, DATA
	$(FSOD) data make --config "$(CONFIG)" $(if $(DATA),--source "$(DATA)") $(SET)

pretrain: $(INSTALLED) ## learn to compare, on invented classes: CONFIG
	$(FSOD) pretrain --config "$(if $(filter file,$(origin CONFIG)),configs/pretrain.yaml,$(CONFIG))" $(SET)

meta-train: $(INSTALLED) ## learn to compare, on base classes: CONFIG
	$(FSOD) meta-train --config "$(CONFIG)" $(SET)

finetune: $(INSTALLED) ## learn your marks: SCENE, EXAMPLES, AREA, BANK; or a run's novel classes: CONFIG, SHOTS, SEED
	$(if $(EXAMPLES)$(SCENE)$(AREA),$(call need,SCENE)$(FSOD) finetune $(if $(filter-out file,$(origin CONFIG)),--config "$(CONFIG)") --scene "$(SCENE)" $(if $(EXAMPLES),--examples "$(EXAMPLES)") $(if $(AREA),--area "$(AREA)") $(weights) --out "$(BANK)" $(shots) $(SET),$(FSOD) finetune --config "$(CONFIG)" $(shots) $(SET))

evaluate: $(INSTALLED) ## average precision on the test images: CONFIG, SHOTS, SEED
	$(FSOD) evaluate --config "$(CONFIG)" $(shots) $(SET)

enroll: $(INSTALLED) ## classes from example boxes on a GeoTIFF into a class bank: CONFIG, EXAMPLES, SCENE, BANK
	$(call need,EXAMPLES SCENE)
	$(FSOD) enroll $(if $(filter-out file,$(origin CONFIG)),--config "$(CONFIG)") $(weights) --examples "$(EXAMPLES)" --scene "$(SCENE)" --out "$(BANK)"

predict: $(INSTALLED) ## find a bank's classes in a GeoTIFF: SCENE, BANK, OUT
	$(call need,SCENE)
	$(FSOD) predict "$(SCENE)" --bank "$(BANK)" $(weights) --out "$(OUT)"

dashboard: $(INSTALLED) ## all runs in MLflow on 127.0.0.1: PORT
	$(FSOD) dashboard --port $(PORT)

bench-model: $(INSTALLED) ## what the detector costs beside plain ones; writes runs/bench/model.json
	.venv/bin/python -m experiments.bench_model.bench

bench-scenes: $(INSTALLED) ## what going over scenes costs, beside SAHI too: DATA (prepared), BANK; writes runs/bench/scenes.json
	$(call need,DATA)
	$(PIP) install -q -c $(CONSTRAINTS) -e '.[bench]'
	.venv/bin/python -m experiments.bench_scenes.bench --data "$(DATA)" --bank "$(BANK)" $(weights)

docs: $(INSTALLED) ## the documentation as HTML: build/site/index.html
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

# Two processes with one thread each: threads of two processes on two cores wait for each other.
test: export OMP_NUM_THREADS := 1
test: style ## lint, types and tests
	.venv/bin/mypy & .venv/bin/pytest -n 2 --dist worksteal; status=$$?; wait $$! && exit $$status

lint: style ## style and types
	.venv/bin/mypy

style: $(INSTALLED)
	.venv/bin/ruff check
	.venv/bin/ruff format --check

clean: ## caches and build leftovers; .venv, data/ and runs/ stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist fsod.egg-info
	find fsod data_prep tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +

# --no-compile: 20,000 files would be compiled, of which a command imports a few thousand; the first that does compiles them.
# opencv-python (ultralytics) and opencv-python-headless (albumentations) share one folder: the constraints keep them
# equal. --no-deps: the index of a torch build carries old copies of what torch needs; the second pip line gets these.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fsod needs Python 3.11 or newer: PYTHON=...")'
	@mkdir -p .venv && date +%s > .venv/install_started
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(PIP) install --no-compile -c $(CONSTRAINTS) --no-deps $(replace) --index-url $(TORCH_INDEX) torch torchvision)
	$(PIP) install --no-compile -c $(CONSTRAINTS) -e '.[dev]'
	@echo "$(TORCH_INDEX)" > .venv/torch_index
	@echo $$(($$(date +%s) - $$(cat .venv/install_started))) > .venv/install_seconds
	@echo "Installed in $$(cat .venv/install_seconds) s."
	@touch $@

FORCE:
