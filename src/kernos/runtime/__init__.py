"""Running a model file: conversion, engine, batcher, the inference data plane."""
