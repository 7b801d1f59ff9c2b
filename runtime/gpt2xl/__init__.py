"""Run GPT-2 from an exported bundle: numpy, onnxruntime and tokenizers, nothing else."""

from gpt2xl.batcher import Batcher, Update
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.constraints.grammar import Grammar
from gpt2xl.decoding.logprobs import Logprobs
from gpt2xl.decoding.samplers import Sampler
from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.errors import (
    BundleError,
    BusyError,
    CheckpointError,
    ExportError,
    Gpt2xlError,
    Gpt2xlWarning,
    ParityError,
    ProviderError,
    RequestError,
)
from gpt2xl.loading import load
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.pipelines.feature_extraction import FeatureExtractionPipeline
from gpt2xl.pipelines.pipeline import pipeline
from gpt2xl.pipelines.seeds import set_seed
from gpt2xl.pipelines.text_generation import TextGenerationPipeline
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.scores.continuations import Continuation, ContinuationScore
from gpt2xl.scores.texts import Score
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.results import Generation, Piece, Timings
from gpt2xl.text.streams import Stream
from gpt2xl.text.tokenizer import StreamDecoder, Tokenizer
from gpt2xl.udf.batch_udf import BatchUdf, batch_udf
from gpt2xl.version import __version__

__all__ = [
    "Acceptance",
    "BatchUdf",
    "Batcher",
    "BundleError",
    "BusyError",
    "CheckpointError",
    "Continuation",
    "ContinuationScore",
    "ExportError",
    "FeatureExtractionPipeline",
    "GPT2Config",
    "Generation",
    "GenerationOptions",
    "Gpt2xlError",
    "Gpt2xlWarning",
    "Grammar",
    "LoadOptions",
    "LogitsProcessor",
    "Logprobs",
    "Model",
    "ParityError",
    "Piece",
    "ProviderError",
    "RequestError",
    "Sampler",
    "Score",
    "Stream",
    "StreamDecoder",
    "TextGenerationPipeline",
    "Timings",
    "Tokenizer",
    "Update",
    "__version__",
    "batch_udf",
    "load",
    "pipeline",
    "set_seed",
]
