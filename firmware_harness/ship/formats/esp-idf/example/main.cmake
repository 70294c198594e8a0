# SPDX-License-Identifier: Apache-2.0
# Without a list of requirements the main component has all others, among them the one of this folder.
idf_component_register(SRC_DIRS ".")
