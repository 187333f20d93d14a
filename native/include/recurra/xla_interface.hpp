// The part of XLA's foreign function interface that a target needs: the layout in memory of xla/ffi/api/c_api.h, version
// 0.1 and later. Later versions add fields at the end of a structure, where nothing here looks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recurra::xla {

constexpr int kMajor = 0, kMinor = 1;

enum Stage { kExecute = 3 };
enum ExtensionKind { kMetadata = 1 };
enum Code { kInvalidArgument = 3, kNotFound = 5, kInternal = 13 };
enum Dtype { kInt32 = 4, kInt64 = 5 };

struct Error;

struct Extension {
    size_t size;
    int kind;
    Extension* next;
};

struct Version {
    size_t size;
    Extension* extension;
    int major, minor;
};

struct Metadata {
    size_t size;
    Version version;   // filled in by the target
};

struct MetadataExtension {
    Extension base;
    Metadata* metadata;
};

struct Buffer {
    size_t size;
    Extension* extension;
    int dtype;
    void* data;
    int64_t rank;
    int64_t* dimensions;
};

struct Scalar {
    int dtype;
    void* value;
};

struct Buffers {        // arguments or results
    size_t size;
    Extension* extension;
    int64_t count;
    int* kinds;
    Buffer** at;
};

struct Attributes {
    size_t size;
    Extension* extension;
    int64_t count;
    int* kinds;
    void** names;
    Scalar** at;
};

struct ErrorArguments {
    size_t size;
    Extension* extension;
    const char* message;
    int code;
};

struct Api {
    size_t size;
    Extension* extension;
    Version version;
    void* internal;
    Error* (*make_error)(ErrorArguments*);
};

struct Frame {
    size_t size;
    Extension* extension;
    const Api* api;
    void* context;
    int stage;
    Buffers arguments, results;
    Attributes attributes;
};

}  // namespace recurra::xla
