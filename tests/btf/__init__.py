"""Tests of the BTF reader."""
