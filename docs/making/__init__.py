"""What the site is made with: extensions of Sphinx, and pages written from the registries."""
