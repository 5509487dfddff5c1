"""The others, each as its users write it: a loop in torchvision's manner, timm's data pipeline, fastai."""
