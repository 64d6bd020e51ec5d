"""The ten objects, by the names that ImageNet has for them; known without building any."""

CLASS_NAMES = (
    "school bus",
    "ostrich",
    "table lamp",
    "sports car",
    "king penguin",
    "coffee mug",
    "traffic light",
    "umbrella",
    "airship",
    "acoustic guitar",
)
