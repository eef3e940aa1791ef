"""A file's services as Kubernetes objects: typed values in, plain data out, and a Kustomize tree of them at the end."""
