"""What ships to the Hub with every model: the config, the model, the processor, the pipeline and its stream."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker and an editor see of the classes below
    from .configuration_ser_meta import SerMetaConfig as SerMetaConfig
    from .modeling_ser_meta import SerMetaModel as SerMetaModel
    from .modeling_ser_meta import SerMetaOutput as SerMetaOutput
    from .pipeline_ser_meta import SpeechEmotionPipeline as SpeechEmotionPipeline
    from .processing_ser_meta import SerMetaProcessor as SerMetaProcessor
    from .stream_ser_meta import SpeechEmotionStream as SpeechEmotionStream

_MODULES = {
    "SerMetaConfig": "configuration_ser_meta",
    "SerMetaModel": "modeling_ser_meta",
    "SerMetaOutput": "modeling_ser_meta",
    "SerMetaProcessor": "processing_ser_meta",
    "SpeechEmotionPipeline": "pipeline_ser_meta",
    "SpeechEmotionStream": "stream_ser_meta",
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    # torch and transformers load when a class is asked for: the command line's help must not wait for them
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    _register()
    return found


def _register() -> None:
    """With the package installed, Transformers' Auto classes and `pipeline` know its models without remote code."""
    from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoProcessor
    from transformers.pipelines import PIPELINE_REGISTRY

    from .configuration_ser_meta import PIPELINE_TASK, SerMetaConfig
    from .modeling_ser_meta import SerMetaModel
    from .pipeline_ser_meta import SpeechEmotionPipeline
    from .processing_ser_meta import SerMetaProcessor

    AutoConfig.register("ser_meta", SerMetaConfig, exist_ok=True)
    for auto_class in (AutoModel, AutoModelForAudioClassification):
        auto_class.register(SerMetaConfig, SerMetaModel, exist_ok=True)
    AutoProcessor.register(SerMetaConfig, SerMetaProcessor, exist_ok=True)
    if PIPELINE_TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            PIPELINE_TASK,
            pipeline_class=SpeechEmotionPipeline,
            pt_model=AutoModelForAudioClassification,
            type="audio",
        )
