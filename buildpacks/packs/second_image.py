"""How a launch layer says that it is not for the image that serves, but for a second image of the same release.

Its metadata holds NAME_KEY, the second image's name, and OF_KEY, the layer of the same buildpack that it stands for; it
lies at that layer's path there. A platform that knows this says so: ALGO_VARIANTS has the names, commas between.
"""

GPU = "gpu"
NAMES = (GPU,)
NAME_KEY, OF_KEY = "algo_variant", "algo_variant_of"
