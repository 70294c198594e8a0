/* The version of tinyscene that these kernels and headers belong to. */
#ifndef TS_VERSION_H
#define TS_VERSION_H

#define TINYSCENE_VERSION "0.1.0"
#define TINYSCENE_VERSION_MAJOR 0
#define TINYSCENE_VERSION_MINOR 1
#define TINYSCENE_VERSION_PATCH 0

#endif
