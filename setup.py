"""Builds the kernel of model.explain; where that fails the package installs without it."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "model._treeshap",
            ["model/_treeshap.c"],
            depends=["model/_treeshap_kernel.h", "model/_treeshap_layout.h"],
            extra_compile_args=["-O3", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
)
