"""Semantic segmentation: UperNet with any of this project's upsamplers, to compare them on that task."""

from inpaint.segmentation.upernet import PyramidPooling, UperNet, upernet

__all__ = ["PyramidPooling", "UperNet", "upernet"]
