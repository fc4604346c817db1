//! The functions and objects of the C API that are needed, looked up by name in this process: one
//! library serves every version, and whatever is missing is told.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};

/// An object of the interpreter's, or null.
pub(crate) type Pointer = *mut c_void;

/// `PyCompilerFlags`.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CompilerFlags {
    pub(crate) flags: c_int,
    pub(crate) minor_version: c_int,
}

/// What this process does not have, though an interpreter does.
#[derive(Debug, thiserror::Error)]
#[error("this process has no `{0}`, so it is no interpreter that can be forked")]
pub(crate) struct Missing(&'static str);

macro_rules! c_api {
    ($($name:ident($($kind:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions, by their names in C.
        #[expect(non_snake_case, reason = "these are the names of the C API")]
        #[derive(Debug)]
        pub(crate) struct Functions {
            $(pub(crate) $name: unsafe extern "C" fn($($kind),*) $(-> $result)?,)*
        }

        impl Functions {
            pub(crate) fn find() -> Result<Self, Missing> {
                Ok(Self { $($name: {
                    type Function = unsafe extern "C" fn($($kind),*) $(-> $result)?;
                    let found = find(concat!(stringify!($name), "\0"))?;
                    // SAFETY: a function of this name has this type, says the documentation of
                    // the C API of every version from 3.8 on; the pointer is not null.
                    unsafe { std::mem::transmute::<Pointer, Function>(found) }
                },)* })
            }
        }
    };
}

c_api! {
    PyDict_DelItemString(Pointer, *const c_char) -> c_int;
    PyDict_SetItem(Pointer, Pointer, Pointer) -> c_int;
    PyErr_Clear();
    PyErr_Fetch(*mut Pointer, *mut Pointer, *mut Pointer);
    PyErr_ExceptionMatches(Pointer) -> c_int;
    PyErr_Occurred() -> Pointer;
    PyErr_Print();
    PyErr_Restore(Pointer, Pointer, Pointer);
    PyFile_WriteObject(Pointer, Pointer, c_int) -> c_int;
    PyFile_WriteString(*const c_char, Pointer) -> c_int;
    PyGC_Collect() -> isize;
    PyList_GetItem(Pointer, isize) -> Pointer;
    PyList_Size(Pointer) -> isize;
    PyLong_AsLong(Pointer) -> c_long;
    PyLong_FromLong(c_long) -> Pointer;
    PyOS_AfterFork_Child();
    PyOS_AfterFork_Parent();
    PyOS_BeforeFork();
    PyObject_Call(Pointer, Pointer, Pointer) -> Pointer;
    PyObject_GetAttrString(Pointer, *const c_char) -> Pointer;
    PyObject_IsTrue(Pointer) -> c_int;
    PyObject_Print(Pointer, *mut libc::FILE, c_int) -> c_int;
    PyObject_Type(Pointer) -> Pointer;
    PyRun_FileExFlags(*mut libc::FILE, *const c_char, c_int, Pointer, Pointer, c_int, *mut CompilerFlags) -> Pointer;
    PySys_GetObject(*const c_char) -> Pointer;
    PySys_SetObject(*const c_char, Pointer) -> c_int;
    PyThreadState_Get() -> Pointer;
    PyTuple_GetItem(Pointer, isize) -> Pointer;
    PyTuple_New(isize) -> Pointer;
    PyTuple_SetItem(Pointer, isize, Pointer) -> c_int;
    PyType_GetFlags(Pointer) -> c_ulong;
    PyBytes_AsString(Pointer) -> *const c_char;
    PyUnicode_AsUTF8AndSize(Pointer, *mut isize) -> *const c_char;
    PyUnicode_FromStringAndSize(*const c_char, isize) -> Pointer;
    Py_DecRef(Pointer);
    Py_FinalizeEx() -> c_int;
    Py_GetVersion() -> *const c_char;
    Py_IncRef(Pointer);
}

/// `Py_LeaveRecursiveCall`, which 3.8 has as a macro only.
pub(crate) fn leave_recursive_call() -> Option<unsafe extern "C" fn()> {
    let found = find("Py_LeaveRecursiveCall\0").ok()?;
    // SAFETY: a function of this name takes and returns nothing; the pointer is not null.
    Some(unsafe { std::mem::transmute::<Pointer, unsafe extern "C" fn()>(found) })
}

/// Objects that the interpreter keeps for ever.
#[derive(Debug)]
pub(crate) struct Constants {
    pub(crate) none: Pointer,
    pub(crate) system_exit: Pointer,
    pub(crate) keyboard_interrupt: Pointer,
    /// The stream of C, not the interpreter's.
    pub(crate) stderr: *mut libc::FILE,
}

impl Constants {
    pub(crate) fn find() -> Result<Self, Missing> {
        Ok(Self {
            none: find("_Py_NoneStruct\0")?,
            system_exit: pointed_at("PyExc_SystemExit\0")?,
            keyboard_interrupt: pointed_at("PyExc_KeyboardInterrupt\0")?,
            stderr: pointed_at("stderr\0")?.cast(),
        })
    }
}

/// The value of a variable that is a pointer.
fn pointed_at(name: &'static str) -> Result<Pointer, Missing> {
    let variable = find(name)?.cast::<Pointer>();
    // SAFETY: a variable of this name is a pointer, and set since before this library was loaded.
    let value = unsafe { variable.read() };
    if value.is_null() { Err(missing(name)) } else { Ok(value) }
}

/// The address of what this process calls so; the name ends with a NUL.
fn find(name: &'static str) -> Result<Pointer, Missing> {
    let Ok(text) = CStr::from_bytes_with_nul(name.as_bytes()) else { return Err(missing(name)) };
    // SAFETY: the name is a C string, and the default handle needs no opening.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, text.as_ptr()) };
    if found.is_null() { Err(missing(name)) } else { Ok(found) }
}

fn missing(name: &'static str) -> Missing {
    Missing(name.trim_end_matches('\0'))
}
