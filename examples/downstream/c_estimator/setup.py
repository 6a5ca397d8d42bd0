from setuptools import Extension, setup

import fastnn

setup(ext_modules=[Extension("estimator", ["estimator.c"], include_dirs=[fastnn.get_include()])], py_modules=[])
