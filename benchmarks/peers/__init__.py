"""The others: a plain loop in torchvision's manner, timm's data pipeline, fastai. Each as its users write it."""
