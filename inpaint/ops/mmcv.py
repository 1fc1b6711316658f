"""The documented public name of `inpaint.compat.mmcv`, which holds the code."""

from inpaint.compat.mmcv import CARAFE, CARAFENaive, CARAFEPack, carafe, carafe_naive

__all__ = ["CARAFE", "CARAFENaive", "CARAFEPack", "carafe", "carafe_naive"]
