# The paint worker: the engine and torch. The same image runs on a GPU and on a CPU alone.
#
#   docker build -f deploy/paint.Dockerfile -t impasto-paint .
ARG PYTHON_IMAGE=python:3.11-slim

# What the dependencies hang on: not the tables of the tools.
FROM ${PYTHON_IMAGE} AS project
WORKDIR /project
COPY pyproject.toml constraints.txt ./
RUN sed -i '/^\[tool\./,$d' pyproject.toml && touch README.md LICENSE

# Dependencies in a layer of their own, by way of an empty package: a change of source does not install torch again.
FROM ${PYTHON_IMAGE} AS dependencies
# Another package index than pip's own, such as one with torch's smaller CPU builds.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/impasto/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY --from=project /project ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/impasto \
 && pip install -c constraints.txt '.[paint]' \
 && pip uninstall -y impasto

FROM dependencies AS wheel
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="Impasto's paint worker" \
      org.opencontainers.image.description="The optimisation of a neural style transfer service, with torch" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A new volume takes its owner from the folder that it is mounted on.
RUN install -d -o 10001 -g 10001 /var/lib/impasto /var/lib/impasto/objects /var/lib/impasto/weights
COPY --from=dependencies /opt/impasto /opt/impasto
ENV PATH=/opt/impasto/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    IMPASTO_DATA_DIR=/var/lib/impasto NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --disable-pip-version-check /wheels/*.whl
WORKDIR /var/lib/impasto
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s CMD ["python", "-m", "worker.health", "paint"]
CMD ["python", "-m", "worker", "paint"]
