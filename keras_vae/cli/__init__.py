"""The command keras-vae."""
