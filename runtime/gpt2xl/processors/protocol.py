"""What a logits processor is: it changes the logits of one position before a token is chosen from them.

A processor is any function of the ids so far (prompt included) and the logits, [n]; it returns new
logits and leaves its arguments unchanged. An id whose logit becomes -inf cannot be chosen. n is the vocabulary; the
processors of truncation and scaling may get the largest logits only (`Chain.needed_logits`), and keep the same ids then.
Logits that are not finite at their largest pass through them unchanged, and the sampler refuses them.
"""

from collections.abc import Callable, Sequence

from gpt2xl.sessions.protocol import Logits

LogitsProcessor = Callable[[Sequence[int], Logits], Logits]
