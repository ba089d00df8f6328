"""Names that a caller of an endpoint uses: Azure ML's."""

DEPLOYMENT_HEADER = "azureml-model-deployment"  # asks for one online deployment, and says which one answered
