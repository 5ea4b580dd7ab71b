"""Meta-sampling: which negatives train the class rows.

The name is LMFSODet's (arXiv 2404.18426); the rule is ours. A pair is an image and a class. Of a pair's unassigned
locations only the hardest are kept: those where the class has the highest share among all rows and background. Positive pairs
(the image shows the class) and negative pairs have separate quotas, so rare classes meet as many look-alikes as frequent
ones. The choice depends on its pair alone. It is the same whether a batch is on one process or on several.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def meta_sampling(
    log_share: Tensor, negative: Tensor, positive_pair: Tensor, per_positive_pair: int, per_negative_pair: int
) -> Tensor:
    """The negatives that train each row.

    Args:
        log_share: (B, N, L) float, log share of each class row.
        negative: (B, N, L) bool, locations that are assigned to no box and may be background for a row.
        positive_pair: (B, N) bool, whether image b shows class c.
        per_positive_pair: samples kept for each pair whose class is in the image.
        per_negative_pair: samples kept for each pair whose class is not.

    Returns:
        (B, N, L) bool.
    """
    most = min(max(per_positive_pair, per_negative_pair), log_share.shape[2])
    hardness = log_share.masked_fill(~negative, -torch.inf)
    hardest = hardness.topk(most, dim=2)
    quota = torch.where(positive_pair, per_positive_pair, per_negative_pair)
    wanted = torch.arange(most, device=log_share.device) < quota[..., None]
    wanted &= hardest.values.isfinite()
    return torch.zeros_like(log_share, dtype=torch.bool).scatter_(2, hardest.indices, wanted)
