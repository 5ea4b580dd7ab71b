# docker build -t fsod .                                   CPU
# docker build -t fsod:cuda --build-arg TORCH=cu128 .      CUDA; run it with --gpus all
# docker run --rm --network none -v "$PWD:/data" fsod predict /data/scene.tif --bank /data/ships.safetensors --out /data/found.gpkg
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
# a build of torch at download.pytorch.org/whl; those for CUDA bring its libraries, so the base image is always the same
ARG TORCH=cpu
ARG EXTRAS=train,track,report,onnx,ray
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY configs/constraints.txt configs/constraints.txt
# --no-deps: that index carries old copies of what torch needs; the next line gets these
RUN pip install --no-deps -c configs/constraints.txt --index-url "https://download.pytorch.org/whl/${TORCH}" torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY fsod fsod
COPY data_prep data_prep
RUN pip install -c configs/constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim-bookworm
# libgl1, libglib2.0-0: OpenCV; libexpat1: GDAL in the wheels of rasterio and pyogrio; libgomp1: torch. A release of Debian has one version of each.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libexpat1 libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home fsod \
    && install -d -o fsod -g fsod /opt/fsod /data /runs
COPY --from=build /opt/venv /opt/venv
COPY configs /opt/fsod/configs
COPY data_prep/scenes /opt/fsod/data_prep/scenes
# HOME: whoever --user names can write the caches of matplotlib and others
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp MPLBACKEND=Agg NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/fsod
USER 1000
# fails the build, not the first user, where a library is missing
RUN fsod info
ENTRYPOINT ["fsod"]
CMD ["--help"]
