"""The benchmark of the search and the vote: it calls them with what a fill gives them."""

import numpy as np
import skimage.data

from inpaint.ops.exemplars import exemplar_search, exemplar_vote


def test_the_operands_are_those_of_the_operators(exemplar_times):
    photo = np.ascontiguousarray(skimage.data.astronaut()[:64, :72])
    mask = np.zeros((64, 72), bool)
    mask[20:40, 20:50] = True
    search, guided, vote = exemplar_times.operands(photo, mask)
    field, cost = exemplar_search(**search)
    assert field.shape == cost.shape == mask.shape
    assert exemplar_search(**guided)[0].shape == mask.shape
    assert exemplar_vote(**vote).shape == (mask.sum(), 3)
