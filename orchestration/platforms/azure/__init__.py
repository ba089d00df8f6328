"""Azure Machine Learning as a platform. Importing this package imports none of Azure's SDKs."""
