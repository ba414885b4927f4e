FROM python:3.12-slim

# Dependencies in a layer of their own: it is made anew only when they change.
RUN pip install --no-cache-dir uv
WORKDIR /srv/imu-studio
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY imu_core/__init__.py imu_core/__init__.py
# The build without CUDA; give --build-arg TORCH=auto for a GPU.
ARG TORCH=cpu
RUN uv pip install --system --no-cache --torch-backend "$TORCH" --constraints constraints.txt --editable .

COPY . .
RUN useradd --uid 1000 --create-home studio && mkdir -p /runs && chown studio /runs
USER studio
ENV IMU_RUNS=/runs NUMBA_CACHE_DIR=/tmp/numba STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_HEADLESS=true
VOLUME /runs
EXPOSE 8501
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request as u; assert u.urlopen('http://127.0.0.1:8501/_stcore/health').read() == b'ok'"]
CMD ["python", "-m", "streamlit", "run", "app.py"]
