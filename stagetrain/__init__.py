"""Trains object detectors in stages that a YAML file describes."""

__version__ = '0.1.0'
