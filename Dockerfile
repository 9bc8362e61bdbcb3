FROM python:3.11-slim

# Where torch comes from: by default without CUDA; https://pypi.org/simple has the CUDA build.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# The pinned packages first, so that a change of the code does not install them again.
COPY requirements.lock ./
RUN pip install --no-deps --index-url "$TORCH_INDEX" "$(grep -o '^torch==[0-9.]*' requirements.lock)" \
 && pip install -r requirements.lock

COPY . .
RUN pip install --no-deps --editable . \
 && useradd --create-home catalog \
 && install --directory --owner=catalog --group=catalog /data

# A new volume takes the folder's owner from the image.
ENV CATALOG_HOME=/data
VOLUME /data
USER catalog

CMD ["catalog", "doctor"]
