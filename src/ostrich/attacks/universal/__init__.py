"""Image-agnostic attacks within a norm: fitted on some images, judged on others."""
